import { assert, defined } from "../base/assert.ts";
import { MixtabError } from "../base/errors.ts";
import type { Device } from "./device.ts";

/** More than this the expert kernels cannot bind. */
const MAX_PAGES = 4;

const NONE = 0xffffffff;

/**
 * Slots of `bytes` each, in up to four buffers ("pages") of equal size, and the directory that `resolve.wgsl` reads: slots, slots per page,
 * words per slot, 0, then the table [layers, experts] and the owner of each slot. Errors: out-of-memory.
 */
export function makeSlots(device: Device, count: number, bytes: number, layers: number, experts: number) {
  const perPage = Math.floor(device.maxBufferBytes / bytes);
  if (perPage * MAX_PAGES < count)
    throw new MixtabError(
      "out-of-memory",
      `This GPU takes at most ${perPage * MAX_PAGES} experts of ${bytes} bytes, and ${count} were asked for. Choose a smaller budget.`,
    );
  const pageCount = Math.max(1, Math.ceil(count / perPage));
  const slotsPerPage = Math.ceil(count / pageCount);
  const { queue } = device.gpu;
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST;
  const pages = Array.from({ length: pageCount }, (_, page) =>
    device.buffer("experts", Math.min(slotsPerPage, count - page * slotsPerPage) * bytes, usage),
  );

  const head = [count, slotsPerPage, bytes / 4, 0];
  const ownersAt = head.length + layers * experts;
  const words = new Uint32Array(ownersAt + count).fill(NONE);
  words.set(head);
  const directory = device.buffer("where experts lie", words.byteLength, usage);
  queue.writeBuffer(directory, 0, words);
  const put = (word: number, value: number) => queue.writeBuffer(directory, 4 * word, new Uint32Array([value]));

  return {
    count,
    bytes,
    layers,
    experts,
    pages,
    directory,
    write(slot: number, record: Uint8Array<ArrayBuffer>): void {
      assert(slot < count && record.length <= bytes && record.length % 4 === 0, "a record fits its slot");
      const page = defined(pages[Math.floor(slot / slotsPerPage)], "the slot's page");
      queue.writeBuffer(page, (slot % slotsPerPage) * bytes, record);
    },
    own(slot: number, owner: number): void {
      assert(slot < count, `slot ${slot} is one of ${count}`);
      put(ownersAt + slot, owner);
    },
    map(layer: number, expert: number, slot: number): void {
      assert(layer < layers && expert < experts, `expert ${expert} of layer ${layer} has a place in the table`);
      put(head.length + layer * experts + expert, slot);
    },
  };
}
