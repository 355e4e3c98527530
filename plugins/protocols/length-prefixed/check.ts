/** Checks what the schema of the options cannot: that they go together, and that what fields are to carry fits. */
import type { Scope } from 'pointsman';
import { bytesOf } from './bytes.ts';
import type { Field } from './layout.ts';
import { LengthField } from './length-field.ts';
import type { Options } from './options.ts';

/** @throws Error if the options contradict each other, or what they are to carry does not fit */
export function check(options: Options, scope: Scope): void {
  const { length, id, correlation, replay, error } = options;
  const { backends, name: poolName, settings } = scope.pool;
  if (length.encoding !== 'binary' && length.endian === 'little') {
    throw new Error(`length.endian: only a binary length can be little-endian, not one in ${length.encoding}`);
  }
  if (replay !== undefined && settings.links === 'shared') {
    throw new Error(`replay: each client needs links of its own, but those of the pool "${poolName}" are shared`);
  }
  if (options.replayable !== undefined && correlation === undefined) {
    throw new Error('replayable: which requests wait for an answer is known by their correlation only');
  }
  const answers = correlation?.answers;
  if (answers !== undefined && (answers.value & ~answers.mask) !== 0) {
    throw new Error(`correlation.answers: the value ${answers.value} has bits that the mask ${answers.mask} has not`);
  }
  if (id?.encoding === 'number') {
    if (id.size > 8) throw new Error(`id.size: a number has at most 8 bytes, not ${id.size}`);
    const most = 256 ** id.size - 1;
    const misfit = backends.find((backend) => backend.number !== undefined && backend.number > most);
    if (misfit !== undefined) {
      throw new Error(`id.size: ${id.size} bytes hold numbers up to ${most}, but "${misfit.name}" is ${misfit.number}`);
    }
  }
  if (id?.insert !== undefined && id.answerOffset !== undefined) {
    throw new Error('id.answerOffset: an identifier is inserted at one place in requests and answers');
  }
  checkPlaces(options);
  checkValues(options);
  if (error !== undefined) {
    const template = bytesOf(error.hex);
    const framed = new LengthField(length).frame(template, 0, template.length);
    if (framed !== template.length) {
      throw new Error(
        `error.hex: must be one whole frame of ${template.length} bytes, but its length field does not say so`,
      );
    }
    for (const [reason, { to, hex: bytes }] of Object.entries(error.reasons)) {
      if (to + bytesOf(bytes).length <= template.length) continue;
      throw new Error(`error.reasons: the bytes for "${reason}" reach beyond error.hex`);
    }
    const beyond = error.copy.find(({ to, size }) => to + size > template.length);
    if (beyond !== undefined) {
      throw new Error(`error.copy: bytes ${beyond.to} to ${beyond.to + beyond.size - 1} are not in error.hex`);
    }
  }
}

/** @throws Error if fields that are written overlap, or what is inserted would tear a field apart */
function checkPlaces({ length, id, correlation, affinity, keys, replay, failure, replayable }: Options): void {
  for (const kind of ['requests', 'answers']) {
    const extent = (option: string, field: Field) => {
      const start = (kind === 'answers' ? field.answerOffset : undefined) ?? field.offset;
      return { option, start, end: start + field.size };
    };
    const lengthExtent = extent('length', { ...length, size: length.encoding === 'varint' ? 1 : length.size });
    const written = [lengthExtent];
    if (correlation !== undefined) written.push(extent('correlation', correlation));
    if (id !== undefined && id.insert === undefined) written.push(extent('id', id));
    if (replayable?.mark !== undefined && kind === 'requests') {
      written.push(extent('replayable.mark', { ...replayable.mark, size: 1 }));
    }
    for (const [i, field] of written.entries()) {
      const other = written.slice(0, i).find(({ start, end }) => start < field.end && field.start < end);
      if (other !== undefined) throw new Error(`${field.option}: in ${kind} it overlaps ${other.option}`);
    }
    if (id?.insert?.at !== 'offset') continue;
    if (id.offset < lengthExtent.end) {
      throw new Error('id.offset: an identifier can be inserted only behind the length field');
    }
    const read = Object.entries(keys).map(([key, field]) => extent(`keys.${key}`, field));
    if (affinity !== undefined) read.push(extent('affinity', affinity));
    if (replay !== undefined) read.push(extent('replay', replay));
    if (failure !== undefined) read.push(extent('failure', failure));
    if (replayable !== undefined) read.push(extent('replayable', replayable));
    const torn = [...written, ...read].find(({ start, end }) => start < id.offset && id.offset < end);
    if (torn !== undefined) throw new Error(`${torn.option}: the identifier would be inserted in its middle`);
  }
}

/** @throws Error if a field can never have one of the values that it is compared with */
function checkValues({ replay, failure, replayable }: Options): void {
  for (const [option, size, values] of [
    ['replay.values', replay?.size, replay?.values],
    ['replay.answers', replay?.size, replay?.answers],
    ['failure.values', failure?.size, failure?.values],
    ['replayable.values', replayable?.size, replayable?.values],
  ] as const) {
    const misfit = values?.find((value) => value >= 256 ** size!);
    if (misfit !== undefined)
      throw new Error(`${option}: ${misfit} does not fit into the field, whose size is ${size}`);
  }
}
