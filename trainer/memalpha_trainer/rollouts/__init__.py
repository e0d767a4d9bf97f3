"""Rollouts: who makes them (`source`), how one is made (`collect`), and by whose words (`policy`)."""
