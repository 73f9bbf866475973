"""Are the images that we make what others take for ext4?"""
