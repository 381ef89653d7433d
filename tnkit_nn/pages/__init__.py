"""What all pages that tnkit writes share: the look, the footer, how a template becomes one file."""
