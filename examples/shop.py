"""A small shop as tools: one class, whose instance is the state of an episode. See recipes/tools.toml."""

from fissile import DomainError


class Shop:
    """Keeps a stock and a cart."""

    def __init__(self, stock: dict[str, int] | None = None) -> None:
        self.stock = dict(stock or {"tea": 3, "milk": 2, "bread": 5, "salt": 9})
        self.cart: dict[str, int] = {}

    def find(self, item: str) -> dict[str, int]:
        """How many of an item are in stock.

        Args:
            item: Name of the item.
        """
        if item not in self.stock:
            raise DomainError(f"there is no '{item}'; the shop has {', '.join(sorted(self.stock))}")
        return {item: self.stock[item]}

    def put(self, item: str, quantity: int = 1) -> dict[str, int]:
        """Put an item into the cart.

        Args:
            item: Name of the item.
            quantity: How many, 1 or more.
        """
        if quantity < 1:
            raise DomainError("quantity must be 1 or more")
        if self.find(item)[item] < quantity:
            raise DomainError(f"only {self.stock[item]} of '{item}' are left")
        self.stock[item] -= quantity
        self.cart[item] = self.cart.get(item, 0) + quantity
        return dict(self.cart)

    def take_back(self, item: str) -> dict[str, int]:
        """Take an item out of the cart, all of it.

        Args:
            item: Name of the item.
        """
        if item not in self.cart:
            raise DomainError(f"'{item}' is not in the cart")
        self.stock[item] += self.cart.pop(item)
        return dict(self.cart)
