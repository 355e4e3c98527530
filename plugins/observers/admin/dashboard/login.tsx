/** Asks for the token. */
import { useState } from 'preact/hooks';

export function Login({ fault, onToken }: { fault: string | undefined; onToken: (token: string) => void }) {
  const [given, setGiven] = useState('');
  return (
    <main class="login">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (given !== '') onToken(given);
        }}
      >
        <h1>
          <img src="/icon.svg" alt="" width="32" height="32" />
          pointsman
        </h1>
        <label for="token">Token</label>
        <input
          id="token"
          type="password"
          autocomplete="off"
          required
          value={given}
          aria-invalid={fault !== undefined}
          aria-describedby="about-token"
          onInput={(event) => setGiven(event.currentTarget.value)}
        />
        <p
          id="about-token"
          class={fault === undefined ? 'hint' : 'hint bad'}
          role={fault === undefined ? undefined : 'alert'}
        >
          {fault ?? 'The one that the option “token” of the observer “admin” names. It is kept for this tab only.'}
        </p>
        <button type="submit" class="main">
          Open
        </button>
      </form>
    </main>
  );
}
