"""One file per entry; importing a file registers it. See gradverify.registry."""
