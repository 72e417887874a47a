"""A Modbus TCP server of Debian's python3-pymodbus, on a free port of loopback.

Its argument is JSON: {unit: {"input"|"holding": {address: word}}}. Only the
addresses that are given exist. It prints "port N" once it listens.
"""

import asyncio
import json
import sys

from pymodbus.datastore import ModbusServerContext, ModbusSlaveContext, ModbusSparseDataBlock
from pymodbus.server.async_io import ModbusTcpServer


def block(words):
    # A sparse block without values is refused: the last address stands in.
    return ModbusSparseDataBlock({int(a): w for a, w in words.items()} or {65535: 0})


async def main():
    slaves = {}
    for unit, kinds in json.loads(sys.argv[1]).items():
        slaves[int(unit)] = ModbusSlaveContext(
            ir=block(kinds.get("input", {})), hr=block(kinds.get("holding", {})), zero_mode=True)
    server = ModbusTcpServer(ModbusServerContext(slaves=slaves, single=False), address=("127.0.0.1", 0))
    task = asyncio.ensure_future(server.serve_forever())
    while server.server is None or not server.server.sockets:
        await asyncio.sleep(0.01)
    print("port", server.server.sockets[0].getsockname()[1], flush=True)
    await task


asyncio.run(main())
