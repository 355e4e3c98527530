import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { KeyedHash } from '../../core/hash.ts';

/** HalfSipHash-2-4-64 of the bytes 00, 00 01, 00 01 02, … (none to 63 of them) under the key 00 … 07: vectors.h of github.com/veorq/SipHash. */
// biome-ignore format: a table
const vectors = [
  '218d1f59b9b83cc8', 'be552412f8387315', '064f39ef7c50eb57', 'ce0f1a45f7060679', 'd5e78a175be52ea1',
  'cb9d7c3f2f3db580', 'ce3e91358aa2bc25', 'ff202728b07bc684', 'edfee820bce4858c', '5b51cccc13888307',
  '95b0469f06a6f2ee', 'ae26333994ddcd48', '7bc71f9faef5c799', '5a2352d75a0c3744', '3bb1a870eae8e658',
  '217d0bcb4e81c902', '7336aad25f7bf3b5', '37adc0641c4c4f6a', 'c9b2db2b9a3e42f9', 'f910e48020ab363c',
  '1bf52b0a6feea7db', '00741dc269e8b3ef', 'e20103fa1ba776ef', '4c2210e54b681d73', '70741045ae3fa6f1',
  '0c86403739714038', '0d899ed8112923f0', '226bf5fab81ee1b8', '2d925ffb1e0016b5', '361958d52cee10f1',
  '291aaf864898179d', '863c7f155c34117c', '28709d46d811626c', '248477681d28f89c', '8324e4d7528f9830',
  'f9efd4e13aea6bd8', '86d67a40ec4276dc', '3f6292eccca97e35', 'cbd92ee724d42109', '368df6808d403d79',
  '5b38c81c67c8ae4c', '95ab7189d439acb3', 'a91a52c025327024', '5b0087c69528acea', '1e30f3ad27dcb15a',
  '697f5c9a90324ed4', '495c0f995557dc38', '9427202a3c29f94d', 'a9eaa8c04ba93e3e', 'eea4c1737d011218',
  '912d568fd8f65a49', '56919596b0ff5c97', '02445a7998f550e1', '86ec466ce71d1fb2', '359569e7d289e3bc',
  '871b05ca62bb7c96', 'a1a492f942f15f1d', '12ec267ff6095b6e', '5d1b5ea1b231d89d', 'd8cfb4453f92ee54',
  'd6762890bf26e460', '313563a4b7ed5cf3', 'f90b3ab572d46693', '2ea63c71bf326087',
];

function digest(hash: KeyedHash): string {
  const bytes = Buffer.alloc(8);
  bytes.writeInt32LE(hash.low, 0);
  bytes.writeInt32LE(hash.high, 4);
  return bytes.toString('hex');
}

describe('KeyedHash', () => {
  it('is HalfSipHash-2-4-64: it agrees with all reference vectors', () => {
    const hash = new KeyedHash(Uint8Array.from({ length: 8 }, (_, i) => i));
    const input = Uint8Array.from({ length: 64 }, (_, i) => i);
    for (const [length, vector] of vectors.entries()) {
      hash.hash(input, 0, length);
      expect(digest(hash), `${length} bytes`).toBe(vector);
    }
  });

  it('hashes the window it is given and nothing around it', () => {
    const whole = new KeyedHash();
    const window = new KeyedHash();
    fc.assert(
      fc.property(fc.uint8Array(), fc.uint8Array(), fc.uint8Array(), (before, bytes, after) => {
        whole.hash(bytes);
        window.hash(Buffer.concat([before, bytes, after]), before.length, before.length + bytes.length);
        expect(digest(window)).toBe(digest(whole));
      }),
    );
  });

  it('depends on every byte of the key', () => {
    const digests = new Set<string>();
    for (let at = 0; at < 8; at++) {
      const key = new Uint8Array(8);
      key[at] = 0x80;
      const hash = new KeyedHash(key);
      hash.hash(Buffer.from('edge'));
      digests.add(digest(hash));
    }
    expect(digests.size).toBe(8);
  });

  it('without a key uses the key of all zero, on which replicas agree', () => {
    const unkeyed = new KeyedHash();
    const zero = new KeyedHash(new Uint8Array(8));
    unkeyed.hash(Buffer.from('uas-1'));
    zero.hash(Buffer.from('uas-1'));
    expect(digest(unkeyed)).toBe(digest(zero));
  });

  it('refuses a key of another length', () => {
    expect(() => new KeyedHash(new Uint8Array(16))).toThrow(new RangeError('a key has 8 bytes, not 16'));
  });
});
