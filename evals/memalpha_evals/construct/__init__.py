"""What writers keep of the evidence for the tokens they store; without a reader."""
