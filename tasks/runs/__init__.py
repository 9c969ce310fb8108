"""Executions: their record, what they read and publish, and the warehouse."""
