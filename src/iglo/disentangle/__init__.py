"""Class and content: one code per class and one content code per image."""
