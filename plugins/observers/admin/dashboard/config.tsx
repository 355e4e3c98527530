/** The config as it was written. It is fetched when it is looked at. */
import { useState } from 'preact/hooks';
import { getConfig } from './api.ts';

export function Config() {
  const [text, setText] = useState<string>();
  return (
    <section id="config" aria-labelledby="config-title">
      <h2 id="config-title">Config</h2>
      <details
        class="card"
        onToggle={(event) => {
          if (!event.currentTarget.open) return;
          getConfig().then(
            (config) => setText(JSON.stringify(config, undefined, 2)),
            (error: Error) => setText(`It could not be fetched: ${error.message}`),
          );
        }}
      >
        <summary>As it was written; secrets are masked</summary>
        {/* biome-ignore lint/a11y/noNoninteractiveTabindex: who scrolls by keyboard must be able to get there */}
        <pre tabIndex={0}>{text ?? 'Fetching it …'}</pre>
      </details>
    </section>
  );
}
