//! Who is in which room of one namespace: plain data.
//!
//! Sockets and rooms are known by small dense numbers; ids and names are hashed only to find
//! these. The room that each socket has for itself, named like its id, is *virtual*: a bit and no
//! entry. Others may join a room of that name; then the room is both. This module does not lock,
//! send, tell anybody or know whether a socket is connected.
//! Specification: Socket.IO, "Rooms"; reference: the in-memory adapter (`rooms`, `sids`).

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::id::SocketId;

/// The sockets of a namespace, each known by its id and by its slot, and the rooms they are in.
///
/// Ids are unique: if two sockets have the same one, only one of them is found by it.
///
/// A slot is valid from `insert` to `remove`; afterwards another socket gets it. Methods that take
/// a slot do nothing if it is vacant.
pub(crate) struct Rooms<S> {
    sockets: Slab<S>,
    /// The rooms of the socket in the same slot, in order of joining, without the virtual one.
    memberships: Vec<Vec<Membership>>,
    /// The slots of the sockets that are in their own room.
    own: Bits,
    rooms: Slab<Room>,
    /// Slots by the socket's id, and numbers of rooms by name.
    ids: HashTable<u32>,
    names: HashTable<u32>,
    hasher: RandomState,
}

/// A socket, or a handle of it.
pub(crate) trait Member {
    /// Gives the id, which never changes.
    fn id(&self) -> &SocketId;
}

/// Is told of each room that a socket leaves: its name, and whether nobody is in it any more.
type OnLeft<'a> = dyn FnMut(&str, bool) + 'a;

/// The place of a socket in [`Rooms`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Slot(pub(crate) u32);

/// What a call of `join` did.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Joined {
    /// The room had no socket before.
    pub(crate) created: bool,
    /// The socket was not in the room before.
    pub(crate) joined: bool,
}

/// What a call of `leave` did.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Left {
    /// The socket was in the room before.
    pub(crate) left: bool,
    /// The room has no socket any more.
    pub(crate) deleted: bool,
}

/// That a socket is in a room.
#[derive(Clone, Copy)]
struct Membership {
    room: u32,
    /// Where the socket stands among the room's members.
    position: u32,
}

struct Room {
    name: Box<str>,
    /// Slots, without the one whose virtual room has this name. Never empty.
    members: Vec<u32>,
}

impl<S: Member> Rooms<S> {
    /// Makes an index without sockets, which owns no memory yet.
    pub(crate) fn new() -> Rooms<S> {
        Rooms {
            sockets: Slab::new(),
            memberships: Vec::new(),
            own: Bits::default(),
            rooms: Slab::new(),
            ids: HashTable::new(),
            names: HashTable::new(),
            hasher: RandomState::default(),
        }
    }

    /// Adds a socket, which is in its own room only.
    pub(crate) fn insert(&mut self, socket: S) -> Slot {
        let hash = self.hash(socket.id().as_bytes());
        let slot = self.sockets.insert(socket);
        if slot as usize == self.memberships.len() {
            self.memberships.push(Vec::new());
        }
        self.own.insert(slot);
        let (sockets, hasher) = (&self.sockets, &self.hasher);
        self.ids
            .insert_unique(hash, slot, |&slot| hash_of_id(sockets, hasher, slot));
        Slot(slot)
    }

    /// Takes a socket out of all its rooms and out of the index.
    ///
    /// `left`, if there is one, gets the name of each room, the own one first, then in order of joining,
    /// and whether the room has no socket any more.
    pub(crate) fn remove(&mut self, slot: Slot, mut left: Option<&mut OnLeft<'_>>) -> Option<S> {
        let id = self.sockets.get(slot.0)?.id();
        let hash = self.hash(id.as_bytes());
        if self.own.remove(slot.0)
            && let Some(left) = &mut left
        {
            left(id.as_str(), self.find_room(id.as_str()).is_none());
        }
        for membership in std::mem::take(self.memberships.get_mut(slot.0 as usize)?) {
            let name_is_id = left.is_some() && self.name_is_id(membership.room);
            let emptied = self.take_from_room(membership);
            if let Some(left) = &mut left {
                let name = &self.rooms.get(membership.room)?.name;
                left(name, emptied && !name_is_id);
            }
            if emptied {
                self.delete_room(membership.room);
            }
        }
        if let Ok(entry) = self.ids.find_entry(hash, |&other| other == slot.0) {
            entry.remove();
        }
        let socket = self.sockets.remove(slot.0);
        self.memberships.truncate(self.sockets.entries.len());
        self.give_back();
        socket
    }

    /// Puts a socket into a room.
    pub(crate) fn join(&mut self, slot: Slot, room: &str) -> Joined {
        let Some(socket) = self.at(slot) else {
            return Joined::default();
        };
        if *socket.id() == *room {
            let joined = self.own.insert(slot.0);
            return Joined {
                created: joined && self.find_room(room).is_none(),
                joined,
            };
        }
        let (number, created) = match self.find_room(room) {
            Some(number) if self.is_member(slot.0, number) => return Joined::default(),
            Some(number) => (number, false),
            None => (self.create_room(room), self.find_own(room).is_none()),
        };
        if let Some(room) = self.rooms.get_mut(number) {
            let position = room.members.len() as u32;
            room.members.push(slot.0);
            self.memberships[slot.0 as usize].push(Membership {
                room: number,
                position,
            });
        }
        Joined {
            created,
            joined: true,
        }
    }

    /// Takes a socket out of a room.
    pub(crate) fn leave(&mut self, slot: Slot, room: &str) -> Left {
        let Some(socket) = self.at(slot) else {
            return Left::default();
        };
        if *socket.id() == *room {
            let left = self.own.remove(slot.0);
            return Left {
                left,
                deleted: left && self.find_room(room).is_none(),
            };
        }
        let Some(number) = self.find_room(room) else {
            return Left::default();
        };
        let memberships = &mut self.memberships[slot.0 as usize];
        let Some(index) = memberships.iter().position(|m| m.room == number) else {
            return Left::default();
        };
        let membership = memberships.remove(index);
        shrink(memberships);
        let emptied = self.take_from_room(membership);
        if emptied {
            self.delete_room(number);
        }
        Left {
            left: true,
            deleted: emptied && self.find_own(room).is_none(),
        }
    }

    /// Gives the number of sockets.
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Gives the socket in a slot.
    pub(crate) fn at(&self, slot: Slot) -> Option<&S> {
        self.sockets.get(slot.0)
    }

    /// Finds a socket by its id.
    pub(crate) fn get(&self, id: &SocketId) -> Option<&S> {
        self.sockets.get(self.find_id(id.as_bytes())?)
    }

    /// Gives all sockets in order of their slots.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &S> {
        self.sockets.iter()
    }

    /// Gives the names of the rooms of a socket: its own first, then in order of joining.
    pub(crate) fn rooms_of(&self, slot: Slot) -> impl Iterator<Item = &str> {
        let socket = self.at(slot).filter(|_| self.own.contains(slot.0));
        let memberships = self.memberships.get(slot.0 as usize).into_iter().flatten();
        let names = memberships
            .filter_map(|m| self.rooms.get(m.room))
            .map(|room| &*room.name);
        socket
            .map(|socket| socket.id().as_str())
            .into_iter()
            .chain(names)
    }

    /// Says whether a socket is in a room.
    #[cfg(test)]
    pub(crate) fn is_in(&self, slot: Slot, room: &str) -> bool {
        match self.at(slot) {
            Some(socket) if *socket.id() == *room => self.own.contains(slot.0),
            Some(_) => self
                .find_room(room)
                .is_some_and(|number| self.is_member(slot.0, number)),
            None => false,
        }
    }

    /// Gives the sockets in a room.
    #[cfg(test)]
    pub(crate) fn members(&self, room: &str) -> impl Iterator<Item = &S> {
        self.slots_in(room)
            .filter_map(|slot| self.sockets.get(slot))
    }

    /// Gives the names of all rooms, the sockets' own ones included, each once.
    pub(crate) fn rooms(&self) -> impl Iterator<Item = &str> {
        let in_own = self
            .sockets
            .numbered()
            .filter(|&(slot, _)| self.own.contains(slot));
        let rooms = self
            .rooms
            .numbered()
            .filter(|&(room, _)| !self.name_is_id(room));
        in_own
            .map(|(_, socket)| socket.id().as_str())
            .chain(rooms.map(|(_, room)| &*room.name))
    }

    /// Says whether a socket is in the room of this name.
    pub(crate) fn contains_room(&self, room: &str) -> bool {
        self.find_own(room).is_some() || self.find_room(room).is_some()
    }

    /// Calls `f` with each socket that is in one of `rooms` and in none of `except`, once.
    ///
    /// No `rooms` means all sockets, in order of their slots.
    pub(crate) fn select(
        &self,
        rooms: &[impl AsRef<str>],
        except: &[impl AsRef<str>],
        mut f: impl FnMut(&S),
    ) {
        let mut marks = Marks::new(self.sockets.entries.len());
        for room in except {
            self.slots_in(room.as_ref())
                .for_each(|slot| _ = marks.insert(slot));
        }
        let mut call = |slot| {
            if let Some(socket) = self.sockets.get(slot) {
                f(socket);
            }
        };
        match rooms {
            [] if marks.is_empty() => self.sockets.iter().for_each(f),
            [] => {
                let sockets = self
                    .sockets
                    .numbered()
                    .filter(|&(slot, _)| !marks.contains(slot));
                sockets.for_each(|(_, socket)| f(socket));
            }
            [room] if marks.is_empty() => self.slots_in(room.as_ref()).for_each(call),
            [room] => {
                self.slots_in(room.as_ref())
                    .filter(|&slot| !marks.contains(slot))
                    .for_each(call);
            }
            _ => {
                for room in rooms {
                    for slot in self.slots_in(room.as_ref()) {
                        if marks.insert(slot) {
                            call(slot);
                        }
                    }
                }
            }
        }
    }

    /// The slots of the sockets in a room, each once.
    fn slots_in(&self, room: &str) -> impl Iterator<Item = u32> {
        let members = self
            .find_room(room)
            .and_then(|number| self.rooms.get(number));
        let members = members.map_or(&[][..], |room| &room.members);
        self.find_own(room)
            .into_iter()
            .chain(members.iter().copied())
    }

    fn hash(&self, text: &[u8]) -> u64 {
        self.hasher.hash_one(text)
    }

    fn find_id(&self, id: &[u8]) -> Option<u32> {
        let is_it = |&slot: &u32| {
            self.sockets
                .get(slot)
                .is_some_and(|s| s.id().as_bytes() == id)
        };
        self.ids.find(self.hash(id), is_it).copied()
    }

    /// Finds the socket that is in its own room of this name.
    fn find_own(&self, room: &str) -> Option<u32> {
        self.find_id(room.as_bytes())
            .filter(|&slot| self.own.contains(slot))
    }

    fn find_room(&self, name: &str) -> Option<u32> {
        let is_it = |&room: &u32| self.rooms.get(room).is_some_and(|room| *room.name == *name);
        self.names.find(self.hash(name.as_bytes()), is_it).copied()
    }

    /// Says whether a room is also the own room of a socket.
    fn name_is_id(&self, room: u32) -> bool {
        self.rooms
            .get(room)
            .is_some_and(|room| self.find_own(&room.name).is_some())
    }

    /// Searches the shorter of both lists.
    fn is_member(&self, slot: u32, room: u32) -> bool {
        let memberships = self
            .memberships
            .get(slot as usize)
            .map_or(&[][..], Vec::as_slice);
        let members = self.rooms.get(room).map_or(&[][..], |room| &room.members);
        if members.len() < memberships.len() {
            members.contains(&slot)
        } else {
            memberships.iter().any(|m| m.room == room)
        }
    }

    fn create_room(&mut self, name: &str) -> u32 {
        let hash = self.hash(name.as_bytes());
        let number = self.rooms.insert(Room {
            name: name.into(),
            members: Vec::new(),
        });
        let (rooms, hasher) = (&self.rooms, &self.hasher);
        self.names
            .insert_unique(hash, number, |&room| hash_of_name(rooms, hasher, room));
        number
    }

    fn delete_room(&mut self, number: u32) {
        let Some(room) = self.rooms.remove(number) else {
            return;
        };
        let hash = self.hash(room.name.as_bytes());
        if let Ok(entry) = self.names.find_entry(hash, |&other| other == number) {
            entry.remove();
        }
        let (rooms, hasher) = (&self.rooms, &self.hasher);
        shrink_table(&mut self.names, |&room| hash_of_name(rooms, hasher, room));
    }

    /// Removes a member from its room and says whether it was the last one.
    fn take_from_room(&mut self, membership: Membership) -> bool {
        let Membership {
            room: number,
            position,
        } = membership;
        let Some(room) = self.rooms.get_mut(number) else {
            return false;
        };
        room.members.swap_remove(position as usize);
        shrink(&mut room.members);
        // The last member has moved to the gap.
        if let Some(&moved) = room.members.get(position as usize) {
            let memberships = &mut self.memberships[moved as usize];
            if let Some(its) = memberships.iter_mut().find(|m| m.room == number) {
                its.position = position;
            }
        }
        room.members.is_empty()
    }

    /// Gives back memory after the departure of many sockets.
    fn give_back(&mut self) {
        shrink(&mut self.memberships);
        self.own.truncate(self.sockets.entries.len());
        let (sockets, hasher) = (&self.sockets, &self.hasher);
        shrink_table(&mut self.ids, |&slot| hash_of_id(sockets, hasher, slot));
    }
}

impl<S> fmt::Debug for Rooms<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Rooms");
        debug
            .field("sockets", &self.ids.len())
            .field("rooms", &self.names.len());
        debug.finish_non_exhaustive()
    }
}

/// Values by number. The lowest vacant number is taken first, so that the end falls vacant.
struct Slab<T> {
    /// The last one is not vacant.
    entries: Vec<Option<T>>,
    /// All vacant numbers below the length, and perhaps some that are not below it any more.
    vacant: BinaryHeap<Reverse<u32>>,
}

impl<T> Slab<T> {
    fn new() -> Slab<T> {
        Slab {
            entries: Vec::new(),
            vacant: BinaryHeap::new(),
        }
    }

    fn insert(&mut self, value: T) -> u32 {
        if let Some(Reverse(number)) = self.vacant.pop()
            && let Some(entry) = self.entries.get_mut(number as usize)
        {
            *entry = Some(value);
            return number;
        }
        // The smallest number is behind the end, hence all of them are.
        self.vacant.clear();
        let number = u32::try_from(self.entries.len()).expect("memory ends before the numbers do");
        self.entries.push(Some(value));
        number
    }

    fn remove(&mut self, number: u32) -> Option<T> {
        let value = self.entries.get_mut(number as usize)?.take()?;
        if number as usize + 1 < self.entries.len() {
            self.vacant.push(Reverse(number));
            return Some(value);
        }
        while self.entries.pop_if(|entry| entry.is_none()).is_some() {}
        if shrink(&mut self.entries) {
            let len = self.entries.len();
            self.vacant
                .retain(|&Reverse(number)| (number as usize) < len);
            self.vacant.shrink_to_fit();
        }
        Some(value)
    }

    fn get(&self, number: u32) -> Option<&T> {
        self.entries.get(number as usize)?.as_ref()
    }

    fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        self.entries.get_mut(number as usize)?.as_mut()
    }

    fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().flatten()
    }

    fn numbered(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..)
            .zip(&self.entries)
            .filter_map(|(number, entry)| Some((number, entry.as_ref()?)))
    }
}

/// A set of small numbers, one bit each.
#[derive(Default)]
struct Bits(Vec<u64>);

impl Bits {
    /// Says whether the number was not in the set.
    fn insert(&mut self, number: u32) -> bool {
        let (word, mask) = Bits::place(number);
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        let was = self.0[word];
        self.0[word] |= mask;
        was & mask == 0
    }

    /// Says whether the number was in the set.
    fn remove(&mut self, number: u32) -> bool {
        let (word, mask) = Bits::place(number);
        let Some(bits) = self.0.get_mut(word) else {
            return false;
        };
        let was = *bits;
        *bits &= !mask;
        was & mask != 0
    }

    fn contains(&self, number: u32) -> bool {
        let (word, mask) = Bits::place(number);
        self.0.get(word).is_some_and(|bits| bits & mask != 0)
    }

    /// Gives back the memory of numbers from `len` on, none of which is in the set.
    fn truncate(&mut self, len: usize) {
        self.0.truncate(len.div_ceil(64));
        shrink(&mut self.0);
    }

    fn place(number: u32) -> (usize, u64) {
        (number as usize / 64, 1 << (number % 64))
    }
}

/// The slots that a selection shall not visit (again).
///
/// Most selections leave out one socket: the sender. So the first few slots are a list, which
/// needs no memory; the bits come after these.
struct Marks {
    few: [u32; Marks::FEW],
    len: usize,
    /// Contains the few as well, once it is not empty.
    bits: Bits,
    slots: usize,
}

impl Marks {
    const FEW: usize = 8;

    fn new(slots: usize) -> Marks {
        Marks {
            few: [0; Marks::FEW],
            len: 0,
            bits: Bits::default(),
            slots,
        }
    }

    /// Says whether the slot was not marked.
    fn insert(&mut self, slot: u32) -> bool {
        if !self.bits.0.is_empty() {
            return self.bits.insert(slot);
        }
        if self.contains(slot) {
            return false;
        }
        if let Some(place) = self.few.get_mut(self.len) {
            *place = slot;
            self.len += 1;
            return true;
        }
        self.bits.0 = vec![0; self.slots.div_ceil(64)];
        self.few.iter().for_each(|&slot| _ = self.bits.insert(slot));
        self.bits.insert(slot)
    }

    fn contains(&self, slot: u32) -> bool {
        if self.bits.0.is_empty() {
            self.few[..self.len].contains(&slot)
        } else {
            self.bits.contains(slot)
        }
    }

    fn is_empty(&self) -> bool {
        self.len == 0
    }
}

fn hash_of_id<S: Member>(sockets: &Slab<S>, hasher: &RandomState, slot: u32) -> u64 {
    sockets
        .get(slot)
        .map_or(0, |socket| hasher.hash_one(socket.id().as_bytes()))
}

fn hash_of_name(rooms: &Slab<Room>, hasher: &RandomState, room: u32) -> u64 {
    rooms
        .get(room)
        .map_or(0, |room| hasher.hash_one(room.name.as_bytes()))
}

/// Gives back memory if three quarters of it are unused, and says whether it did.
fn shrink<T>(list: &mut Vec<T>) -> bool {
    let much = list.capacity() > KEPT && list.len() < list.capacity() / 4;
    if much {
        list.shrink_to(list.len() * 2);
    }
    much
}

/// Does for a table what [`shrink`] does for a list.
fn shrink_table(table: &mut HashTable<u32>, hash: impl Fn(&u32) -> u64) {
    if table.capacity() > KEPT && table.len() < table.capacity() / 4 {
        table.shrink_to(table.len() * 2, hash);
    }
}

/// The capacity that is not worth giving back.
const KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    const NONE: &[&str] = &[];

    impl Member for Arc<SocketId> {
        fn id(&self) -> &SocketId {
            self
        }
    }

    type Index = Rooms<Arc<SocketId>>;

    fn index<const N: usize>(ids: [&str; N]) -> (Index, [Slot; N]) {
        let mut index = Rooms::new();
        let slots = ids.map(|id| insert(&mut index, id));
        (index, slots)
    }

    fn insert(index: &mut Index, id: &str) -> Slot {
        index.insert(Arc::new(SocketId::from(id)))
    }

    fn selected(index: &Index, rooms: &[&str], except: &[&str]) -> Vec<String> {
        let mut ids = Vec::new();
        index.select(rooms, except, |socket| ids.push(socket.to_string()));
        ids
    }

    fn names(index: &Index, slot: Slot) -> Vec<&str> {
        index.rooms_of(slot).collect()
    }

    #[test]
    fn socket_is_found_by_id_and_by_slot_until_it_is_removed() {
        let (mut index, [a, b]) = index(["a", "b"]);
        assert_eq!((a, b, index.len()), (Slot(0), Slot(1), 2));
        assert_eq!(**index.get(&SocketId::from("b")).unwrap(), "b");
        assert_eq!(**index.at(a).unwrap(), "a");

        let removed = index.remove(a, None).unwrap();
        assert_eq!(*removed, "a");
        assert_eq!(index.get(&SocketId::from("a")), None);
        assert_eq!(index.at(a), None);
        assert_eq!(index.remove(a, None), None);
        assert_eq!(
            index.iter().map(|id| id.as_str()).collect::<Vec<_>>(),
            ["b"]
        );
        assert_eq!(index.len(), 1);
    }

    #[test]
    fn vacant_slots_are_reused_lowest_first() {
        let (mut index, [a, b, c, _]) = index(["a", "b", "c", "d"]);
        for slot in [c, a, b] {
            index.remove(slot, None);
        }
        assert_eq!(insert(&mut index, "e"), a);
        assert_eq!(insert(&mut index, "f"), b);
        assert_eq!(insert(&mut index, "g"), c);
        assert_eq!(insert(&mut index, "h"), Slot(4));
        assert_eq!(selected(&index, NONE, NONE), ["e", "f", "g", "d", "h"]);
    }

    #[test]
    fn vacant_slot_does_nothing() {
        let (mut index, [_]) = index(["a"]);
        for slot in [Slot(1), Slot(u32::MAX)] {
            assert_eq!(index.join(slot, "r"), Joined::default());
            assert_eq!(index.leave(slot, "r"), Left::default());
            assert!(!index.is_in(slot, "r"));
            assert!(names(&index, slot).is_empty());
        }
        assert!(!index.contains_room("r"));
    }

    #[test]
    fn first_member_creates_a_room_and_the_last_deletes_it() {
        let (mut index, [a, b]) = index(["a", "b"]);
        assert_eq!(
            index.join(a, "r"),
            Joined {
                created: true,
                joined: true
            }
        );
        assert_eq!(
            index.join(a, "r"),
            Joined {
                created: false,
                joined: false
            }
        );
        assert_eq!(
            index.join(b, "r"),
            Joined {
                created: false,
                joined: true
            }
        );
        assert!(index.is_in(a, "r") && index.is_in(b, "r") && !index.is_in(a, "other"));

        assert_eq!(
            index.leave(a, "r"),
            Left {
                left: true,
                deleted: false
            }
        );
        assert_eq!(
            index.leave(a, "r"),
            Left {
                left: false,
                deleted: false
            }
        );
        assert!(index.contains_room("r"));
        assert_eq!(
            index.leave(b, "r"),
            Left {
                left: true,
                deleted: true
            }
        );
        assert!(!index.contains_room("r"));
        assert_eq!(
            index.leave(b, "r"),
            Left {
                left: false,
                deleted: false
            }
        );
    }

    // S031
    #[test]
    fn rooms_of_a_socket_are_its_own_and_the_others_in_order_of_joining() {
        let (mut index, [a]) = index(["a"]);
        for room in ["z", "y", "x"] {
            index.join(a, room);
        }
        assert_eq!(names(&index, a), ["a", "z", "y", "x"]);
        index.leave(a, "z");
        index.join(a, "z");
        assert_eq!(names(&index, a), ["a", "y", "x", "z"]);
    }

    #[test]
    fn removal_tells_the_rooms_left_and_which_of_them_are_gone() {
        let (mut index, [a, b]) = index(["a", "b"]);
        index.join(a, "shared");
        index.join(a, "alone");
        index.join(b, "shared");
        let mut left = Vec::new();
        let mut each = |room: &str, deleted| left.push((room.to_owned(), deleted));
        index.remove(a, Some(&mut each));
        let expected = [("a", true), ("shared", false), ("alone", true)];
        assert_eq!(
            left,
            expected.map(|(room, deleted)| (room.to_owned(), deleted))
        );
        assert_eq!(
            index.rooms().collect::<BTreeSet<_>>(),
            BTreeSet::from(["b", "shared"])
        );
    }

    // S030
    #[test]
    fn own_room_reaches_its_socket_only() {
        let (index, _) = index(["a", "b"]);
        assert_eq!(selected(&index, &["a"], NONE), ["a"]);
        assert_eq!(index.members("b").count(), 1);
        assert_eq!(index.names.len(), 0);
    }

    #[test]
    fn own_room_can_be_left_and_joined_again() {
        let (mut index, [a]) = index(["a"]);
        assert_eq!(
            index.join(a, "a"),
            Joined {
                created: false,
                joined: false
            }
        );
        assert_eq!(
            index.leave(a, "a"),
            Left {
                left: true,
                deleted: true
            }
        );
        assert_eq!(
            index.leave(a, "a"),
            Left {
                left: false,
                deleted: false
            }
        );
        assert!(!index.is_in(a, "a") && !index.contains_room("a"));
        assert!(names(&index, a).is_empty());
        assert!(selected(&index, &["a"], NONE).is_empty());
        assert_eq!(selected(&index, NONE, NONE), ["a"]);
        assert_eq!(
            index.join(a, "a"),
            Joined {
                created: true,
                joined: true
            }
        );
        assert_eq!(selected(&index, &["a"], NONE), ["a"]);
    }

    #[test]
    fn room_named_like_the_id_of_another_socket_is_one_room_with_it() {
        let (mut index, [a, b]) = index(["a", "b"]);
        assert_eq!(
            index.join(b, "a"),
            Joined {
                created: false,
                joined: true
            }
        );
        assert_eq!(selected(&index, &["a"], NONE), ["a", "b"]);
        assert_eq!(selected(&index, NONE, &["a"]), [""; 0]);
        assert_eq!(index.rooms().collect::<Vec<_>>(), ["a", "b"]);

        assert_eq!(
            index.leave(a, "a"),
            Left {
                left: true,
                deleted: false
            }
        );
        assert_eq!(
            index.rooms().collect::<BTreeSet<_>>(),
            BTreeSet::from(["a", "b"])
        );
        assert_eq!(selected(&index, &["a"], NONE), ["b"]);
        assert_eq!(
            index.join(a, "a"),
            Joined {
                created: false,
                joined: true
            }
        );
        assert_eq!(
            index.leave(b, "a"),
            Left {
                left: true,
                deleted: false
            }
        );

        index.join(b, "a");
        index.remove(
            a,
            Some(&mut |room, deleted| assert_eq!((room, deleted), ("a", false))),
        );
        assert_eq!(selected(&index, &["a"], NONE), ["b"]);
        // Somebody returns with an id whose room others have not left.
        insert(&mut index, "a");
        assert_eq!(selected(&index, &["a"], NONE), ["a", "b"]);
    }

    #[test]
    fn socket_in_two_rooms_is_selected_once() {
        let (mut index, [a, b, c]) = index(["a", "b", "c"]);
        for slot in [a, b] {
            index.join(slot, "r");
            index.join(slot, "s");
        }
        index.join(c, "s");
        assert_eq!(selected(&index, &["r", "s"], NONE), ["a", "b", "c"]);
        assert_eq!(selected(&index, &["r", "r", "a"], NONE), ["a", "b"]);
    }

    #[test]
    fn sockets_in_an_excepted_room_are_not_selected() {
        let (mut index, [a, b, c]) = index(["a", "b", "c"]);
        for slot in [a, b] {
            index.join(slot, "r");
        }
        index.join(c, "s");
        assert_eq!(selected(&index, NONE, &["r"]), ["c"]);
        assert_eq!(selected(&index, &["r"], &["a"]), ["b"]);
        assert_eq!(
            selected(&index, &["r", "s"], &["b", "nobody's"]),
            ["a", "c"]
        );
        assert_eq!(selected(&index, &["r"], &["r"]), [""; 0]);
        assert_eq!(selected(&index, &["nobody's"], NONE), [""; 0]);
    }

    #[test]
    fn more_marks_than_the_list_holds_are_kept_as_bits() {
        let mut marks = Marks::new(1000);
        for slot in (0..1000).step_by(37) {
            assert!(!marks.contains(slot));
            assert!(marks.insert(slot));
            assert!(!marks.insert(slot));
        }
        assert!((0..1000).all(|slot| marks.contains(slot) == (slot % 37 == 0)));
    }

    #[test]
    fn mass_departure_gives_memory_back() {
        let mut index = Rooms::new();
        let slots: Vec<Slot> = (0..10_000)
            .map(|i| insert(&mut index, &i.to_string()))
            .collect();
        for &slot in &slots {
            index.join(slot, "everybody");
            index.join(slot, &format!("alone {}", slot.0));
        }
        for &slot in slots[10..].iter().rev() {
            index.remove(slot, None);
        }
        assert!(index.sockets.entries.capacity() <= 128);
        assert!(index.memberships.capacity() <= 128);
        assert!(index.rooms.entries.capacity() <= 128);
        assert!(index.rooms.get(0).unwrap().members.capacity() <= 128);
        assert!(index.ids.capacity() <= 128 && index.names.capacity() <= 128);
        assert!(index.own.0.capacity() <= KEPT * 2);
        assert_eq!(selected(&index, &["everybody"], NONE).len(), 10);
    }

    #[test]
    fn places_of_a_departed_crowd_do_not_pile_up() {
        let mut index = Rooms::new();
        for _ in 0..10 {
            let slots: Vec<_> = (0..1000)
                .map(|i| insert(&mut index, &i.to_string()))
                .collect();
            // From the middle outwards, so that places fall vacant before the end does.
            for i in (0..500).rev() {
                index.remove(slots[i], None);
                index.remove(slots[999 - i], None);
            }
            assert_eq!(index.len(), 0);
            assert!(index.sockets.entries.is_empty() && index.memberships.is_empty());
            assert!(index.sockets.vacant.len() <= 1000);
            assert!(index.sockets.entries.capacity() <= KEPT);
        }
    }

    #[test]
    fn coming_and_going_socket_needs_no_more_memory() {
        let (mut index, _) = index(["a", "b"]);
        let mut capacities = BTreeSet::new();
        for _ in 0..1000 {
            let slot = insert(&mut index, "c");
            index.remove(slot, None);
            capacities.insert((
                index.sockets.entries.capacity(),
                index.memberships.capacity(),
                index.sockets.vacant.capacity(),
                index.ids.capacity(),
                index.own.0.capacity(),
            ));
        }
        assert_eq!(capacities.len(), 1);
    }

    #[test]
    fn socket_without_rooms_takes_at_most_80_bytes() {
        let mut index = Rooms::new();
        for i in 0..100_000 {
            insert(&mut index, &i.to_string());
            let bytes = index.sockets.entries.capacity() * size_of::<Option<Arc<SocketId>>>()
                + index.memberships.capacity() * size_of::<Vec<Membership>>()
                + index.own.0.capacity() * 8
                + index.ids.allocation_size();
            assert!(
                i < 100 || bytes <= 80 * index.len(),
                "{bytes} bytes for {}",
                index.len()
            );
        }
    }

    /// The rooms by name; the sockets' rooms in order.
    #[derive(Default)]
    struct Model {
        rooms: BTreeMap<String, BTreeSet<String>>,
        sockets: BTreeMap<String, (Slot, Vec<String>)>,
    }

    impl Model {
        fn join(&mut self, id: &str, room: &str) -> Joined {
            let created = !self.rooms.contains_key(room);
            let joined = self
                .rooms
                .entry(room.to_owned())
                .or_default()
                .insert(id.to_owned());
            if joined {
                let rooms = &mut self.sockets.get_mut(id).unwrap().1;
                rooms.insert(if id == room { 0 } else { rooms.len() }, room.to_owned());
            }
            Joined { created, joined }
        }

        fn leave(&mut self, id: &str, room: &str) -> Left {
            let Some(members) = self.rooms.get_mut(room) else {
                return Left::default();
            };
            let left = members.remove(id);
            let deleted = members.is_empty();
            if deleted {
                self.rooms.remove(room);
            }
            self.sockets
                .get_mut(id)
                .unwrap()
                .1
                .retain(|other| other != room);
            Left { left, deleted }
        }

        fn select(&self, rooms: &[String], except: &[String]) -> BTreeSet<String> {
            let members = |rooms: &[String]| -> BTreeSet<String> {
                rooms
                    .iter()
                    .filter_map(|room| self.rooms.get(room))
                    .flatten()
                    .cloned()
                    .collect()
            };
            let all = || self.sockets.keys().cloned().collect();
            let chosen = if rooms.is_empty() {
                all()
            } else {
                members(rooms)
            };
            &chosen - &members(except)
        }
    }

    #[test]
    fn random_calls_agree_with_a_naive_model() {
        for seed in 0..20 {
            let mut rng = StdRng::seed_from_u64(seed);
            let people = [3, 12, 90][seed as usize % 3];
            let (mut index, mut model) = (Rooms::new(), Model::default());
            for _ in 0..2000 {
                step(&mut rng, people, &mut index, &mut model);
                check_places(&index);
            }
            let names: BTreeSet<_> = index.rooms().map(str::to_owned).collect();
            assert_eq!(index.rooms().count(), names.len());
            assert!(names.iter().eq(model.rooms.keys()));
            for (room, members) in &model.rooms {
                assert!(index.contains_room(room));
                assert_eq!(index.members(room).count(), members.len());
            }
        }
    }

    fn step(rng: &mut StdRng, people: u32, index: &mut Index, model: &mut Model) {
        let id = rng.random_range(0..people).to_string();
        let room = |rng: &mut StdRng| match rng.random_range(0..4) {
            0 => rng.random_range(0..people).to_string(),
            _ => format!("room {}", rng.random_range(0..6)),
        };
        let Some(&(slot, _)) = model.sockets.get(&id) else {
            let slot = insert(index, &id);
            model.sockets.insert(id.clone(), (slot, Vec::new()));
            model.join(&id, &id);
            return;
        };
        match rng.random_range(0..10) {
            0 => {
                let mut left = Vec::new();
                let mut each = |room: &str, deleted| left.push((room.to_owned(), deleted));
                index.remove(slot, Some(&mut each));
                let expected: Vec<_> = model.sockets[&id].1.clone();
                let expected = expected.into_iter().map(|room| {
                    let deleted = model.leave(&id, &room).deleted;
                    (room, deleted)
                });
                assert_eq!(left, expected.collect::<Vec<_>>());
                model.sockets.remove(&id);
            }
            1..=4 => {
                let room = room(rng);
                assert_eq!(index.join(slot, &room), model.join(&id, &room));
                assert!(index.is_in(slot, &room));
            }
            5..=6 => {
                let room = room(rng);
                let is_in = index.is_in(slot, &room);
                let left = index.leave(slot, &room);
                assert_eq!(left, model.leave(&id, &room));
                assert_eq!(left.left, is_in);
                assert!(!index.is_in(slot, &room));
            }
            _ => {
                let rooms: Vec<_> = (0..rng.random_range(0..4)).map(|_| room(rng)).collect();
                let except: Vec<_> = (0..rng.random_range(0..3)).map(|_| room(rng)).collect();
                let mut ids = Vec::new();
                index.select(&rooms, &except, |socket| ids.push(socket.to_string()));
                let unique: BTreeSet<_> = ids.iter().cloned().collect();
                assert_eq!(ids.len(), unique.len());
                assert_eq!(unique, model.select(&rooms, &except));
            }
        }
        if let Some((slot, rooms)) = model.sockets.get(&id) {
            assert_eq!(names(index, *slot), *rooms);
            assert_eq!(**index.get(&SocketId::from(&*id)).unwrap(), *id);
        }
        assert_eq!(index.len(), model.sockets.len());
    }

    /// Checks that members and memberships point to each other.
    fn check_places(index: &Index) {
        let mut places = 0;
        for (slot, memberships) in (0..).zip(&index.memberships) {
            for m in memberships {
                let members = &index.rooms.get(m.room).unwrap().members;
                assert_eq!(members[m.position as usize], slot);
                places += 1;
            }
        }
        assert_eq!(
            places,
            index
                .rooms
                .iter()
                .map(|room| room.members.len())
                .sum::<usize>()
        );
        assert!(index.rooms.iter().all(|room| !room.members.is_empty()));
        assert_eq!(index.memberships.len(), index.sockets.entries.len());
    }
}
