"""Pull, match, merge, plan, deliver, report."""
