"""Targets that come with gradverify: the reference, torch and HIPS autograd."""
