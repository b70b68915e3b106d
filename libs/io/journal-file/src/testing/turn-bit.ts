import { open } from 'node:fs/promises';

/** What a disk that lies does: one bit of a file is another, `at` bytes from its start. */
export async function turnBit(path: string, at: number): Promise<void> {
  const file = await open(path, 'r+');
  const byte = Buffer.alloc(1);
  await file.read(byte, 0, 1, at);
  byte.writeUInt8(byte.readUInt8(0) ^ 0x10);
  await file.write(byte, 0, 1, at);
  await file.close();
}
