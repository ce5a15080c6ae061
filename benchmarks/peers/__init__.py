"""What Loquor is compared with: programs for environments of their own, which import nothing of ours but `padded`."""
