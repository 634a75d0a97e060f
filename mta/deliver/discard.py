"""The transport that throws messages away: for tests, measurements, and addresses nobody reads."""

from mta.deliver.attempt import Work


class Discard:
    """Every message is delivered as soon as it comes, unread."""

    def take(self, works: list[Work]) -> None:
        """End each work as delivered."""
        for work in works:
            work.discarded()

    def abandon(self) -> None:
        """Nothing ever waits here."""

    def close(self) -> None:
        """Nothing to let go of."""
