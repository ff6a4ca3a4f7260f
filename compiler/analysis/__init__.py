"""What a program computes, costs and loses, as data."""
