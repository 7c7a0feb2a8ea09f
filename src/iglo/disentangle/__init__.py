"""Class and content: codes with two parts."""
