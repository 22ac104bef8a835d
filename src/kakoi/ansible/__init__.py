"""What Ansible needs from kakoi: an inventory made from the policy, and modules that cost one call per host."""
