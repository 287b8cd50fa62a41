"""What follows from a transition: today, tasks for sales."""
