"""The Gaussian Mesh and what draws it: one Gaussian a vertex, or a dense grid of them on every face."""
