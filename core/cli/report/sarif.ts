/** Findings for code scanning: SARIF 2.1.0 (OASIS). */
import { createHash } from 'node:crypto';
import { relative, resolve, sep } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Finding } from '../../config/finding.ts';
import { rules } from '../../config/rules.ts';
import { packageVersion } from '../version.ts';

const home = 'https://www.npmjs.com/package/pointsman';

/** @param directory what the places of files are relative to */
export function sarifReport(findings: readonly Finding[], directory = process.cwd()): string {
  const ids = Object.keys(rules);
  const log = {
    $schema: 'https://json.schemastore.org/sarif-2.1.0.json',
    version: '2.1.0',
    runs: [
      {
        tool: {
          driver: {
            name: 'pointsman',
            version: packageVersion(),
            informationUri: home,
            rules: Object.entries(rules).map(([id, text]) => ({ id, shortDescription: { text } })),
          },
        },
        columnKind: 'utf16CodeUnits',
        originalUriBaseIds: { '%SRCROOT%': { uri: `${pathToFileURL(directory)}/` } },
        results: findings.map(({ file, line, column, severity, rule, message }) => ({
          ruleId: rule,
          ruleIndex: ids.indexOf(rule),
          level: severity,
          message: { text: message },
          locations: [
            {
              physicalLocation: {
                artifactLocation: locationOf(file, directory),
                region: { startLine: line, startColumn: column },
              },
            },
          ],
          partialFingerprints: { 'finding/v1': fingerprintOf(rule, file, message, directory) },
        })),
      },
    ],
  };
  return `${JSON.stringify(log, undefined, 2)}\n`;
}

/** A file within the directory is named from there, so that it is found in any checkout. */
function locationOf(file: string, directory: string): object {
  const path = relative(directory, resolve(directory, file));
  if (path.startsWith('..')) return { uri: String(pathToFileURL(resolve(directory, file))) };
  return { uri: path.split(sep).map(encodeURIComponent).join('/'), uriBaseId: '%SRCROOT%' };
}

/** The same finding after lines have been added before it. */
function fingerprintOf(rule: string, file: string, message: string, directory: string): string {
  const path = relative(directory, resolve(directory, file)).split(sep).join('/');
  return createHash('sha256')
    .update(JSON.stringify([rule, path, message]))
    .digest('hex')
    .slice(0, 32);
}
