"""Drop-ins for those who come from elsewhere: the names that they know, over this library."""
