"""One file for each group of commands; heavy imports happen inside the commands."""
