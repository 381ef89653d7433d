"""What a network is: names, indices and sizes, the activations between its parts, and how it reads as a weight."""
