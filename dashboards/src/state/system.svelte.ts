// What the system says of itself: notices and gateways. Asked each half minute and whenever a gateway changed.
import { fetchGateways, fetchSystem } from '../api/calls';
import { ApiError, asApiError } from '../api/client';
import type { Gateway, SystemState } from '../api/contract';

class SystemView {
  state = $state.raw<SystemState | null>(null);
  error = $state.raw<ApiError | null>(null);
  gateways = $state.raw<readonly Gateway[] | null>(null);
  gatewayError = $state.raw<ApiError | null>(null);

  async load(): Promise<void> {
    await Promise.all([this.#loadSystem(), this.#loadGateways()]);
  }

  clear(): void {
    this.state = null;
    this.gateways = null;
    this.error = null;
    this.gatewayError = null;
  }

  async #loadSystem(): Promise<void> {
    try {
      this.state = await fetchSystem();
      this.error = null;
    } catch (error) {
      this.error = asApiError(error);
    }
  }

  async #loadGateways(): Promise<void> {
    try {
      this.gateways = (await fetchGateways()).gateways;
      this.gatewayError = null;
    } catch (error) {
      this.gatewayError = asApiError(error);
    }
  }
}

export const system = new SystemView();
