import { Component, type ComponentChildren } from "preact";
import { t } from "../texts";

/** A fault in one page leaves the frame around it in place. */
export class Boundary extends Component<{ children: ComponentChildren }, { fault?: string }> {
  override state: { fault?: string } = {};

  override componentDidCatch(err: unknown) {
    console.error(err);
    this.setState({ fault: String(err) });
  }

  override render() {
    if (this.state.fault === undefined) return this.props.children;
    return (
      <div class="problem" role="alert">
        <p>
          <strong>{t.error.failed}</strong>
        </p>
        <p>{this.state.fault}</p>
        <button type="button" onClick={() => location.reload()}>
          {t.retry}
        </button>
      </div>
    );
  }
}
