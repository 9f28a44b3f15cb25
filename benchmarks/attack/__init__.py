"""The attack on limbeck: damaged files, odd filters, kills, and doors that lead outside. Run by attack_index.py."""
