"""The back end `user`: a gateway that ends the guest's connections on the host's sockets."""
