"""A worker that counts the words of texts it finds in a queue of files."""
