"""Transactions: named tables over LMDB or memory."""
