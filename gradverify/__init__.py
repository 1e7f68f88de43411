"""gradverify: is the gradient right, how sure are we, where is it wrong, and why."""
