/** What is wrong now, the worst first; or that nothing is. */
import type { Overview } from './api.ts';

interface Told extends Pick<Overview, 'troubles'> {
  /** The backends that are not up are to be shown. */
  readonly onBackends: () => void;
}

export function Troubles({ troubles, onBackends }: Told) {
  return (
    <section class="troubles" aria-label="What is wrong">
      {troubles.length === 0 ? (
        <p class="good">
          <span aria-hidden="true">✓</span> Nothing is wrong: backends are up, and no message is refused or lost.
        </p>
      ) : (
        <ul class="card">
          {troubles.map(({ severity, pool, text }) => (
            <li key={text} class={severity}>
              <span aria-hidden="true">{severity === 'bad' ? '✕' : '!'}</span> {text}
              {pool !== undefined && (
                <button type="button" onClick={onBackends}>
                  Show
                </button>
              )}
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}
