"""Run the tests of the frameworks themselves with our classes in place of theirs."""
