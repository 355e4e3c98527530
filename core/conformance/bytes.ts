/** Bytes for people: as text, with escapes where they are not text. */
export function show(bytes: Uint8Array, most = 60): string {
  const text = JSON.stringify(Buffer.from(bytes.subarray(0, most)).toString('latin1')).replaceAll(
    /[\x7f-\xff]/g,
    (character) => `\\x${character.charCodeAt(0).toString(16)}`,
  );
  return bytes.length > most ? `${text}… (${bytes.length} bytes)` : text;
}
