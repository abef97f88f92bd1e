"""AsyncClient as if it were a Client: one test for both."""

from __future__ import annotations

import asyncio
import inspect

from simprod_tf.serving import AsyncClient


class Awaited:
    """An AsyncClient whose calls are waited for, each in the client's own loop."""

    def __init__(self, *arguments, **named):
        self.loop = asyncio.new_event_loop()

        async def make():
            return AsyncClient(*arguments, **named)

        self.client = self.loop.run_until_complete(make())

    @property
    def dim(self):
        return self.loop.run_until_complete(self.client.dim())

    @property
    def fingerprint(self):
        return self.loop.run_until_complete(self.client.fingerprint())

    def __getattr__(self, name):
        def call(*arguments, **named):
            found = getattr(self.client, name)(*arguments, **named)
            assert inspect.iscoroutine(found)
            return self.loop.run_until_complete(found)

        return call

    def close(self):
        self.loop.run_until_complete(self.client.close())
        self.loop.close()
