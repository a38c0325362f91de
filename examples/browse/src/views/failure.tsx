import { adviceFor } from "../state/advice.ts";

/** What went wrong, in the library's words, and what to do about it. */
export function Failure({
  error,
  onRetry,
  onClose,
}: {
  error: unknown;
  onRetry?: () => void;
  onClose?: () => void;
}) {
  const { title, message, code, todo } = adviceFor(error);
  return (
    <div class="failure" role="alert">
      <h2>{title}</h2>
      <p class="failure-message">
        {code !== undefined && <code>{code}</code>} {message}
      </p>
      {todo.length > 0 && (
        <ul>
          {todo.map((each) => (
            <li key={each}>{each}</li>
          ))}
        </ul>
      )}
      <div class="row">
        {onRetry && (
          <button type="button" class="button" onClick={onRetry}>
            Try again
          </button>
        )}
        {onClose && (
          <button type="button" class="button quiet" onClick={onClose}>
            Dismiss
          </button>
        )}
      </div>
    </div>
  );
}
