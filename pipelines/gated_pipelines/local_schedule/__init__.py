"""Scheduled retraining on one machine: in the foreground, or by cron or systemd."""
