"""Scripted writers on the ledger, by length."""
