import { assert, defined } from "../../base/assert.ts";
import { MixtabError } from "../../base/errors.ts";
import type { Device } from "../../gpu/device.ts";
import type { Place } from "../../gpu/recording.ts";
import { NONE, type Slots } from "../ops.ts";

/** The expert kernels cannot bind more pages than this. */
const MAX_PAGES = 4;

/** Slots that kernels can bind. */
export interface GpuSlots extends Slots {
  /** What `resolve.wgsl` reads. */
  readonly directory: GPUBuffer;
  /** Bytes of all pages together. */
  readonly pageBytes: number;
  /** The buffer that the kernels bind as that page. For pages that do not exist it is page 0. */
  page(index: number): Place;
}

/**
 * Makes slots of `bytes` each, in up to four buffers ("pages"), and the directory. The words of the
 * directory are: number of slots, slots per page, words per slot, 0, then the table [layers,
 * experts] and the owner of each slot. `experts`: E of each layer. A page has room for a quarter of
 * all experts, or for as many as the device allows in a buffer; all pages but the last are full.
 * `onResize` is called when plans must bind the pages anew. Errors: out-of-memory.
 */
export function makeSlots(
  device: Device,
  { count, bytes, experts: perLayer }: { count: number; bytes: number; experts: readonly number[] },
  onResize: () => void,
): GpuSlots {
  const layers = perLayer.length;
  const experts = Math.max(...perLayer);
  const all = perLayer.reduce((sum, each) => sum + each);
  const quarter = Math.ceil(Math.max(count, all) / MAX_PAGES);
  const perPage = Math.min(Math.floor(device.maxBufferBytes / bytes), quarter);
  const most = Math.min(perPage * MAX_PAGES, all);
  const { queue } = device.gpu;
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
  /** How many slots each page has if there are `total`. */
  const split = (total: number) =>
    Array.from({ length: Math.ceil(total / perPage) }, (_, page) => Math.min(perPage, total - page * perPage));
  check(count);
  let pages = split(count).map((slots) => device.buffer("experts", slots * bytes, usage));
  let now = count;

  const head = [count, perPage, bytes / 4, 0];
  const ownersAt = head.length + layers * experts;
  const words = new Uint32Array(ownersAt + Math.max(count, most)).fill(NONE);
  words.set(head);
  const directory = device.buffer("where experts lie", words.byteLength, usage);
  queue.writeBuffer(directory, 0, words);
  const put = (word: number, value: number) => queue.writeBuffer(directory, 4 * word, new Uint32Array([value]));

  function check(total: number): void {
    if (total > perPage * MAX_PAGES)
      throw new MixtabError(
        "out-of-memory",
        `This GPU takes at most ${perPage * MAX_PAGES} experts of ${bytes} bytes, and ${total} were asked for. Choose a smaller budget.`,
      );
  }

  const whereIs = (slot: number) => ({ page: Math.floor(slot / perPage), offset: (slot % perPage) * bytes });

  return {
    get count() {
      return now;
    },
    most,
    bytes,
    layers,
    experts,
    directory,
    get pageBytes() {
      return pages.reduce((sum, { size }) => sum + size, 0);
    },
    page: (index) => ({ place: () => defined(pages[index] ?? pages[0], "a page") }),

    write(slot, offset, data) {
      assert(slot < now && offset + data.length <= bytes, "a record fits its slot");
      assert(offset % 4 === 0 && data.length % 4 === 0, "a record is written in words");
      const at = whereIs(slot);
      queue.writeBuffer(defined(pages[at.page], "the slot's page"), at.offset + offset, data);
    },
    own(slot, owner) {
      assert(slot < now, `slot ${slot} is one of ${now}`);
      put(ownersAt + slot, owner);
    },
    map(layer, expert, slot) {
      assert(layer < layers && expert < experts, `expert ${expert} of layer ${layer} has a place in the table`);
      put(head.length + layer * experts + expert, slot);
    },

    async resize(total, moves = []) {
      check(total);
      const [before, after] = [split(now), split(total)];
      const next: GPUBuffer[] = [];
      const made: GPUBuffer[] = [];
      try {
        for (const [page, slots] of after.entries()) {
          const known = slots === before[page] ? pages[page] : undefined;
          if (!known) made.push(await device.verifiedBuffer("experts", slots * bytes, usage));
          next.push(known ?? made.at(-1)!);
        }
      } catch (error) {
        for (const buffer of made) device.release(buffer);
        throw error;
      }
      const encoder = device.gpu.createCommandEncoder();
      for (const [page, buffer] of next.entries()) {
        const old = pages[page];
        if (old && old !== buffer) encoder.copyBufferToBuffer(old, 0, buffer, 0, Math.min(old.size, buffer.size));
      }
      for (const { from, to } of moves) {
        const [source, target] = [whereIs(from), whereIs(to)];
        const [old, buffer] = [defined(pages[source.page], "a page"), defined(next[target.page], "a page")];
        encoder.copyBufferToBuffer(old, source.offset, buffer, target.offset, bytes);
      }
      queue.submit([encoder.finish()]);
      for (const old of pages) if (!next.includes(old)) device.release(old);
      pages = next;
      now = total;
      put(0, total);
      onResize();
    },
  };
}
