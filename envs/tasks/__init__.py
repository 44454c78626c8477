"""Tasks: goal, success, reward terms and a scripted expert, one file each."""
