"""Whether the tests cover what was asked for: the checks of the original test suite, and every recorded file."""
