"""The whole network under attack: what a peer, or anybody on the link, can send."""
