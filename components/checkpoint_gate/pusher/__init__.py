"""TFX's Pusher: a version becomes visible whole and checked, or not at all."""

from checkpoint_gate.pusher.component import Pusher as Pusher
