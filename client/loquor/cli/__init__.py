"""The commands of `loquor`, one file for each group. They use the client as any other program would."""
