"""A worker as FastStream's documentation shows it: a subscriber, a model, one insert per message.

It stages only; nothing is merged. Handlers run side by side, as many as messages are prefetched
and connections are in the pool.
"""

import os
from contextlib import asynccontextmanager
from datetime import datetime, timezone
from uuid import UUID

import asyncpg
import uvloop
from faststream import AckPolicy, Context, ContextRepo, FastStream
from faststream.rabbit import Channel, RabbitBroker, RabbitMessage, RabbitQueue

from contract import AnyMessage, day_of

INSERTS = {}


def insert(message):
    kind = type(message)
    if kind not in INSERTS:
        columns = ("message_id", "day", "batch_id", "event_at") + kind.columns
        values = ", ".join(f"${place}" for place in range(1, len(columns) + 1))
        INSERTS[kind] = (
            f"insert into stg.{kind.table} ({', '.join(columns)}) values ({values}) on conflict do nothing"
        )
    return INSERTS[kind]


@asynccontextmanager
async def lifespan(context: ContextRepo):
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=10, max_size=10) as pool:
        context.set_global("pool", pool)
        yield


broker = RabbitBroker(os.environ["AMQP_URL"], default_channel=Channel(prefetch_count=100))
app = FastStream(broker, lifespan=lifespan)


@broker.subscriber(
    RabbitQueue("acequia.academico", declare=False), ack_policy=AckPolicy.NACK_ON_ERROR
)
async def handle(message: AnyMessage, raw: RabbitMessage, pool: asyncpg.Pool = Context()) -> None:
    uid = UUID(raw.message_id)
    event_at = message.ts or datetime.now(timezone.utc)
    values = [getattr(message, column) for column in message.columns]
    await pool.execute(insert(message), uid, day_of(uid.int >> 80), 0, event_at, *values)


uvloop.run(app.run())
