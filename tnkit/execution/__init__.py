"""Running plans on arrays: what a library must give, the code of a plan, slices on several workers."""
