"""The program that runs in the sandbox. It reads what strangers wrote, and answers with one bounded report."""
