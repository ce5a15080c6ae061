"""What the server and its workers share. Not a public interface."""
